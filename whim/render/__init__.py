"""Pictures of meshes: a plain numpy renderer that needs nothing, and OpenGL where a context opens."""
