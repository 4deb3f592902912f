"""From a name to three networks: the hub, files, hashes, loading, conversion."""
