"""A bundle: a model, its manifest, its signature, its golden digits and the test on them."""
