"""Themes of tasks that ship with the product; each is named in TASK_MODULES and imports nothing until it is."""
