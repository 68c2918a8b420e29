"""WHIM: from raw videos to training-ready 3D hand data.

Importing the package loads nothing heavy; every command imports what it needs.
"""

__version__ = "0.1.0"
