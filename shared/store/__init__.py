"""Status, history and directory in SQL: two database roles, two dialects."""
