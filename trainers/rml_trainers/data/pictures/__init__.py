"""Opening picture files on purpose: what a picture library does by itself is decided and told
here."""
