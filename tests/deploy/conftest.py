"""What tests in the folders below share stands here, in rendering.py and in checks.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
