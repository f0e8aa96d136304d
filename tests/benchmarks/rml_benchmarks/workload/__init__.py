"""The work that is measured: images, batches, trainers and what they are compared with."""
