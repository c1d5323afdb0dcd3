"""Is the sound of clips in sync with their sight? python check_sync.py CLIP…"""

import json
import subprocess
import sys

LATE_MS = 60  # from here on people notice

for clip in sys.argv[1:]:
    command = [sys.executable, "-m", "earsight", "align", clip, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 3):  # 3: no answer, such as for a hum or a still picture
        print(f"{clip}: {done.stderr.strip()}")
        continue
    offset = json.loads(done.stdout)["offset_seconds"]
    if offset is None:
        print(f"{clip}: no answer")
    elif abs(offset) * 1000 < LATE_MS:
        print(f"{clip}: in sync")
    else:
        print(f"{clip}: the sound is {1000 * offset:+.0f} ms late; `earsight align -o` mends it")
