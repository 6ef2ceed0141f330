"""The stand-alone checker of certificates; it imports nothing of this project outside this folder."""
