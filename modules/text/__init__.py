"""Parts of tasks that read or write text."""
