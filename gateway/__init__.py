"""The door: HTTP in, HTTP out. Nothing here decides what happens to a job."""
