"""What a model says of pictures: of folders, manifests, packs and listings, and of train pictures that its run never saw."""
