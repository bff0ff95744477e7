"""Placeholder."""
def refuses(problem, dtype):
    return "not built"
def suits(problem, dtype):
    return False
