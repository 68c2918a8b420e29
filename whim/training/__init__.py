"""What both trainers share: a loop that can be killed at any moment and goes on identically."""
