"""django.contrib.auth: who one is, and what one may."""

from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate
from django.contrib.auth.models import Group, Permission, User

from tests.demo.browser import Browser
from tests.threads import elsewhere

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
MAY_SEE = "testapp.view_book"


def mia():
    return User.objects.get(username="mia")


def permission(name):
    return Permission.objects.get(content_type__app_label="testapp", codename=name)


def ask_what_mia_may(questions):
    questions.ask(
        all=lambda: sorted(mia().get_all_permissions()),
        own=lambda: sorted(mia().get_user_permissions()),
        from_groups=lambda: sorted(mia().get_group_permissions()),
        one=lambda: mia().has_perm(MAY_SEE),
        several=lambda: mia().has_perms([MAY_SEE, "testapp.change_book"]),
        app=lambda: mia().has_module_perms("testapp"),
        in_async_code=lambda: async_to_sync(mia().ahas_perm)(MAY_SEE),
        groups=lambda: list(mia().groups.order_by("name").values_list("name", flat=True)),
        users=lambda: [
            (user.username, [group.name for group in user.groups.all()])
            for user in User.objects.order_by("pk").prefetch_related("groups")
        ],
        who_may=lambda: sorted(
            user.username for user in User.objects.with_perm(MAY_SEE, backend=MODEL_BACKEND)
        ),
    )


def test_permissions_come_and_go_with_users_and_groups(questions, do):
    User.objects.create_user("mia", password="secret")
    User.objects.create_superuser("boss", password="secret")
    librarians, readers = (
        Group.objects.create(name="Librarians"),
        Group.objects.create(name="Readers"),
    )
    see, change = permission("view_book"), permission("change_book")
    ask_what_mia_may(questions)
    questions.compare()

    do(mia().user_permissions.add, see)
    assert mia().has_perm(MAY_SEE)
    do(mia().groups.add, librarians, readers)
    do(librarians.permissions.set, [see, change])
    do(mia().user_permissions.clear)
    assert mia().has_perm(MAY_SEE)
    do(readers.permissions.add, see)
    do(librarians.delete)
    assert mia().has_perms([MAY_SEE])
    assert not mia().has_perm("testapp.change_book")
    do(Group.objects.filter(pk=readers.pk).update, name="Visitors")
    do(readers.user_set.remove, mia())
    assert not mia().has_perm(MAY_SEE)
    do(User.objects.filter(username="mia").update, is_superuser=True)
    assert mia().has_perm(MAY_SEE)
    do(User.objects.filter(username="mia").update, is_active=False)
    assert not mia().has_perm(MAY_SEE)
    do(see.delete)
    questions.assert_not_vacuous()


def test_a_user_object_remembers_its_permissions_and_the_next_one_asks_again():
    User.objects.create_user("mia")
    before = mia()
    assert not before.has_perm(MAY_SEE)
    elsewhere(mia().user_permissions.add, permission("view_book"))
    assert not before.has_perm(MAY_SEE)
    assert mia().has_perm(MAY_SEE)


def test_a_password_is_right_until_it_is_changed(questions, do, settings):
    all_users = "django.contrib.auth.backends.AllowAllUsersModelBackend"
    settings.AUTHENTICATION_BACKENDS = [MODEL_BACKEND, all_users]
    User.objects.create_user("mia", password="secret")
    for number, password in enumerate(["secret", "better"]):
        given = {"username": "mia", "password": password}
        questions.ask(
            **{
                f"authenticate{number}": lambda given=given: who(authenticate(**given)),
                f"aauthenticate{number}": lambda given=given: who(
                    async_to_sync(aauthenticate)(**given)
                ),
                f"check{number}": lambda password=password: check(password),
            }
        )
    questions.compare()

    def change(password):
        user = mia()
        user.set_password(password)
        user.save(update_fields=["password"])

    do(change, "better")
    assert who(authenticate(username="mia", password="secret")) is None
    assert who(authenticate(username="mia", password="better")) == ("mia", MODEL_BACKEND)
    do(User.objects.filter(username="mia").update, is_active=False)
    assert who(authenticate(username="mia", password="better")) == ("mia", all_users)
    do(User.objects.filter(username="mia").update, username="maria")
    assert who(authenticate(username="maria", password="better")) == ("maria", all_users)
    do(User.objects.all().delete)
    assert who(authenticate(username="maria", password="better")) is None
    questions.assert_not_vacuous()


def who(user):
    return user and (user.username, user.backend)


def check(password):
    user = User.objects.filter(username="mia").first()
    return user and user.check_password(password)


def test_a_remote_user_is_made_once(questions, do, settings):
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
    questions.ask(users=lambda: list(User.objects.order_by("pk").values_list("pk", "username")))
    questions.compare()
    first = do(authenticate, None, remote_user="mia")
    again = do(authenticate, None, remote_user="mia")
    assert first.pk == again.pk == mia().pk
    questions.assert_not_vacuous()


def test_a_login_ends_with_logout_a_new_password_and_the_user(questions, do):
    User.objects.create_user("mia", password="secret", is_staff=True)
    desk, phone = Browser("desk"), Browser("phone")
    for browser in (desk, phone):
        questions.open(browser, "/me/", "/admin/", "/admin/password_change/", "/admin/login/")
    questions.compare()

    def log_in(browser, password):
        form = {"username": "mia", "password": password}
        return browser.submit("/admin/login/", "login-form", **form)

    for browser in (desk, phone):
        do(log_in, browser, "secret")
        assert is_logged_in(browser)
    do(User.objects.filter(username="mia").update, first_name="Mia", last_name="May")
    assert b"Mia May" in phone.get("/me/").content
    do(mia().user_permissions.add, permission("view_book"))
    assert b"testapp/book" in phone.get("/admin/").content
    passwords = {"old_password": "secret", "new_password1": "bett3r!", "new_password2": "bett3r!"}
    do(desk.submit, "/admin/password_change/", "", **passwords)
    assert is_logged_in(desk)
    assert not is_logged_in(phone), "a new password ends the other sessions"
    do(log_in, phone, "bett3r!")
    do(desk.client.post, "/admin/logout/")
    assert not is_logged_in(desk)
    assert is_logged_in(phone)
    do(User.objects.filter(username="mia").update, is_active=False)
    assert not is_logged_in(phone)
    do(User.objects.filter(username="mia").update, is_active=True)
    do(mia().delete)
    assert not is_logged_in(phone)
    # To a stranger these pages say the same without a query.
    questions.assert_not_vacuous(but=("desk: /admin/login/", "phone: /admin/login/"))


def is_logged_in(browser):
    return browser.get("/admin/").status_code == 200
