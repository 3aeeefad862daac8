"""
Every private API of Django that is used, one function each, in a module for each subject.

Checked on Django 5.2, 6.0 and 6.1; ``tests/unit/test_django.py`` fails clearly where Django moves.
"""
