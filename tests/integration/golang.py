"""Programs in Go that tests need, each built once."""
import os
import subprocess
import threading

from harness import BUILD, SOURCE
from origins import installed

building = threading.Lock()
built = {}


def program(name):
    """The path of what tests/integration/go/NAME.go becomes; a test is skipped where there is no Go."""
    go = installed("go")
    with building:
        if name not in built:
            place = os.path.join(BUILD, "go.tmp")  # `make clean` removes it
            os.makedirs(place, exist_ok=True)
            env = dict(os.environ, GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0", GOTOOLCHAIN="local",
                       GOCACHE=os.path.join(place, "cache"), GOPATH=os.path.join(place, "path"))
            fresh, built[name] = os.path.join(place, f"{name}.{os.getpid()}"), os.path.join(place, name)
            source = os.path.join(SOURCE, "tests/integration/go", name + ".go")
            done = subprocess.run([go, "build", "-o", fresh, source], env=env, cwd=place,
                                  capture_output=True, text=True)
            if done.returncode != 0:
                built[name] = None
                raise AssertionError(done.stderr[-2000:])
            os.replace(fresh, built[name])  # another test may have built the same meanwhile
        if not built[name]:
            raise AssertionError("it could not be built")
        return built[name]
