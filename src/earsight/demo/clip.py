"""One clip from its seed: the scene, seen by a camera and heard in a room, written to a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earsight.demo import scenes
from earsight.demo.encode import FPS, write_clip
from earsight.demo.scene import Parameters, Scene
from earsight.demo.sounds import RATE, in_room, master, noise
from earsight.demo.stage import HEIGHT, WIDTH, Brush, Camera


@dataclass(frozen=True)
class Take:
    """A scene with the camera and the sound that will be written.

    Attributes:
        scene: What happens.
        camera: How it is seen.
        sound: (n,) float32 at RATE, what is heard: room, background noise and level included.
        parameters: The scene's own, and those of camera and room.
    """

    scene: Scene
    camera: Camera
    sound: npt.NDArray[np.float32]
    parameters: Parameters

    def frames(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the frames, (HEIGHT, WIDTH, 3); frame i shows the scene at exactly i/FPS s."""
        for number in range(round(self.scene.duration * FPS)):
            t = number / FPS
            stage = self.scene.backdrop.copy()
            self.scene.paint(Brush(stage), t)
            yield np.asarray(self.camera.shoot(stage, t))


def take(label: str, seed: int, index: int) -> Take:
    """Return clip `index` of class `label`, ready to be written."""
    scene = scenes.compose(label, seed, index)
    rng = scenes.generator(label, seed, index, 1)
    camera = Camera(
        sway=float(rng.uniform(0.5, 5.0)),
        rates=rng.uniform(0.1, 0.7, (2, 2)),
        phases=rng.uniform(0, 2 * np.pi, (2, 2)),
        zoom=float(rng.uniform(0.0, 0.06)),
        duration=scene.duration,
    )
    echo, wet = float(rng.uniform(*scene.echo)), float(rng.uniform(0.05, 0.3))
    hush, peak = float(rng.uniform(-52, -36)), float(rng.uniform(-9, -3))
    heard = in_room(rng, scene.sound / np.abs(scene.sound).max(), echo, wet)
    background = noise(rng, scene.duration, 40, 9000, tilt=0.5)
    sound = master(heard + 10 ** (hush / 20) * background, peak)
    parameters: Parameters = {
        **scene.parameters,
        "camera_sway_px": camera.sway, "camera_zoom": camera.zoom,
        "echo_s": echo, "echo_level": wet, "noise_db": hush, "peak_db": peak,
    }  # fmt: skip
    return Take(scene, camera, sound, parameters)


def film(path: Path, label: str, seed: int, index: int) -> Take:
    """Draw, sound and encode one clip."""
    shot = take(label, seed, index)
    write_clip(path, shot.frames(), (WIDTH, HEIGHT), shot.sound, rate=RATE)
    return shot
