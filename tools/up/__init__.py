"""`smartcar up`: every service as a child process, watched and restarted, and an embedded broker."""
