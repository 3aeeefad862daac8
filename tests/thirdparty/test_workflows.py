"""What an editor hands in, a moderator approves, rejects or takes over."""

from tests.thirdparty.forms import article, inline

SUBMIT = {"action-submit": "action-submit"}


def open_pages(magazine, visit, *browsers):
    first = magazine.first.pk
    for browser in browsers:
        visit.open(
            browser,
            "/cms/",
            "/apples/",
            f"/cms/pages/{magazine.home.pk}/",
            f"/cms/pages/{first}/edit/",
            f"/cms/pages/{first}/history/",
            f"/cms/pages/{first}/workflow_history/",
            "/cms/reports/workflow/",
            "/cms/reports/workflow_tasks/",
        )


def task_state(magazine):
    magazine.first.refresh_from_db()
    return magazine.first.current_workflow_task_state.pk


def test_a_page_goes_through_its_workflow(magazine, visit, reader, editor, moderator):
    first = magazine.first.pk
    edit = f"/cms/pages/{first}/edit/"
    visit.open(reader, "/", "/apples/")
    open_pages(magazine, visit, editor, moderator)
    visit.compare("at the beginning")

    def act(browser, action, **data):
        url = f"/cms/pages/workflow/action/{first}/{action}/{task_state(magazine)}/"
        visit.post(browser, url, {"comment": "Because", **data})

    visit.submit(editor, edit, "page-edit-form", **article(title="Better apples"), **SUBMIT)
    assert "Better apples" in moderator.get("/cms/").content.decode()
    assert "Better" not in reader.get("/apples/").content.decode()
    act(moderator, "reject")
    assert magazine.first.current_workflow_state.status == "needs_changes"
    visit.submit(editor, edit, "page-edit-form", **article(title="The best apples"), **SUBMIT)
    act(moderator, "approve")
    assert "The best apples" in reader.get("/apples/").content.decode()
    visit.submit(editor, edit, "page-edit-form", **article(title="No apples"), **SUBMIT)
    cancel = {"action-cancel-workflow": "action-cancel-workflow"}
    visit.submit(moderator, edit, "page-edit-form", **article(), **cancel)
    assert magazine.first.current_workflow_state is None
    visit.assert_not_vacuous()


def test_workflows_and_tasks_are_made_changed_and_disabled(magazine, visit, boss):
    from django.contrib.auth.models import Group
    from wagtail.models import Task, Workflow

    from tests.thirdparty.magazine.models import ArticlePage

    group = Group.objects.get(name="Editors")
    task, workflow = Task.objects.get(), magazine.workflow.pk
    visit.open(boss, "/cms/workflows/list/", "/cms/workflows/tasks/index/", "/cms/workflows/add/")
    visit.open(boss, f"/cms/workflows/edit/{workflow}/", f"/cms/workflows/usage/{workflow}/")
    visit.open(boss, f"/cms/workflows/tasks/edit/{task.pk}/", "/cms/workflows/task_chooser/")
    visit.open(boss, f"/cms/pages/{magazine.first.pk}/edit/")

    add = "/cms/workflows/tasks/add/wagtailcore/groupapprovaltask/"
    visit.submit(boss, add, "w-editor-form", name="Look", groups=[group.pk])
    look = Task.objects.get(name="Look")
    visit.submit(
        boss, "/cms/workflows/add/", "w-editor-form", name="Two looks",
        **inline("workflow_tasks", {"task": look.pk}, {"task": task.pk}),
        **inline("pages", {"page": magazine.first.pk}),
    )  # fmt: skip
    made = Workflow.objects.get(name="Two looks")
    assert magazine.first.get_workflow() == made
    visit.submit(boss, f"/cms/workflows/tasks/edit/{look.pk}/", "w-editor-form", name="A look")
    visit.submit(boss, f"/cms/workflows/disable/{made.pk}/", f"disable/{made.pk}/")
    assert ArticlePage.objects.get(pk=magazine.first.pk).get_workflow() == magazine.workflow
    visit.post(boss, f"/cms/workflows/enable/{made.pk}/")
    visit.submit(boss, f"/cms/workflows/tasks/disable/{look.pk}/", f"disable/{look.pk}/")
    visit.assert_not_vacuous()
