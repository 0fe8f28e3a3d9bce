from __future__ import annotations

import sys
from pathlib import Path

# pytest imports by file, so a helper beside the tests needs its folder on the path
sys.path.insert(0, str(Path(__file__).parent))
