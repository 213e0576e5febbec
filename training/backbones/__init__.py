"""The frozen video models; what every family shares lives here, a folder a family."""
