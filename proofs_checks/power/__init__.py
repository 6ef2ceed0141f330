"""How much a verdict `survived` is worth: known truths that must stand and planted falsehoods that must fall."""
