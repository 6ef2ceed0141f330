"""Claims of the papers, the search for violations, and certificates that anyone can check."""
