"""The command line: each command is one call to the gateway, the start of a process, or a look at the settings."""
