"""From facts to the document that every renderer draws."""
