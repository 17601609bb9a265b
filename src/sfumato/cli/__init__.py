"""The command line; imported by nothing."""

import os

# OpenMP's threads wait asleep instead of spinning: with another process on the same cores a training
# step is then a few per cent slower than alone, where spinning made it forty times slower. It must be
# set before torch is imported; whoever sets it outside decides.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
