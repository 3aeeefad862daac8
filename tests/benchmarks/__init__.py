"""
Benchmarks, run by hand: they print numbers and assert nothing about them.

    uv run --group benchmarks python -m tests.benchmarks.compare

What must hold on every machine (round trips, statements, bytes) is a test with a budget instead:
tests/integration/test_budgets.py.
"""
