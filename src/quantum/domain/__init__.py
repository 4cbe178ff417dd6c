"""The pure core: metrics, detectors, alert policies. No I/O, no clock, no framework; time is an argument."""
