"""
The pages of the panel in Django's admin: what each of them shows.

Nothing in here knows of permissions or writes anything but its answer; that is ``admin``'s.
"""
