"""The hand reconstructor: a crop of one hand to pose, shape, camera, keypoints and mesh (paper section 4.2)."""
