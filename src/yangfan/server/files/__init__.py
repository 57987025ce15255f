"""Files that callers send, kept by what they hold. `Files` takes, lists, gives and deletes them; `read_form` reads the form that brings one."""

from yangfan.server.files.contents import plain_name, settle, tidy
from yangfan.server.files.form import read_form
from yangfan.server.files.logic import Files, expires_seconds_of

__all__ = ["Files", "expires_seconds_of", "plain_name", "read_form", "settle", "tidy"]
