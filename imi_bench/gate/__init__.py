"""The verdict on a new observer, its outputs, and the pytest plug-in."""
