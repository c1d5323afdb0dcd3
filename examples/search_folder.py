"""Index a folder of clips and search it by words: python search_folder.py FOLDER "a dog barks"."""

import subprocess
import sys

import earsight

folder, words = sys.argv[1:]
subprocess.run([sys.executable, "-m", "earsight", "index", folder, "--quiet"], check=True)

with earsight.Library(folder) as library:
    print(f"{library.name}: {len(library.clips())} clips")
    for modality in ("visual", "audio"):
        print(f"\nWhat fits {words!r} best, judged by its {modality}:")
        for result in library.search(text=words, for_=modality, top=5):
            print(f"{result.score:6.3f}  {result.path}")

    print(f"\nThe moments that fit {words!r} best:")
    for moment in library.search(text=words, moments=True, top=3):
        print(f"{moment.score:6.3f}  {moment.path}  {moment.start:.0f} s to {moment.end:.0f} s")
