"""Pages and pictures: what the floors below have computed, drawn; nothing is computed here."""
