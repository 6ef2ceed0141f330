"""The claims, one package a source, in the source's own order."""
