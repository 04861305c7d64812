module medley.health/examples/ct-quality

go 1.26.0
