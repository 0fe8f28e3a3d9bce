"""Pictures, listings and sellers leave a workspace: what goes (plan), and each place it goes from (rows manifests packs databases files run)."""
