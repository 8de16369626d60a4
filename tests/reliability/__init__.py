"""Nothing lost, nothing wrong: kills, full disks, damage, failing disks; each test ends in a proof."""
