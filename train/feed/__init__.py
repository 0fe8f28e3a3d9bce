"""Pictures on their way to the model: read once or again and again, decoded, and made ready while the step before computes.

pictures  what a step asks for a batch: pictures in memory, or streamed
load      pictures of files or of a pack, by the way that `hold` chooses; what cannot be read is counted and listed
decode    one JPEG to pixels, smaller where less is needed
store     decoded pictures in one block that processes of a machine share
hold      auto, device, memory or stream: what fits
ahead     the next batches, made by a thread
"""
