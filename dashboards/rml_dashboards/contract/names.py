"""Names that become files, folders and experiments, whoever wrote them down."""

import re

PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""A study, a profile: what names a folder or file of its own, and needs no care anywhere."""
RUN_ID = re.compile(r"(?!\.+$)[^/\\\x00-\x1f]+")
"""Names a folder, and no path; a data set of a plug-in may have put other characters into it."""
