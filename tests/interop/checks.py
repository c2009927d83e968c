"""What the clients share: how a check is reported, and how our server tells what has become of its calls."""

import contextlib
import http.client
import ssl
import sys
import traceback
from pathlib import Path

# How long one thing may take, in seconds. Far more than it takes: only what hangs reaches it.
LIMIT = 20


class Certificates:
    """Where the certificates of the run are."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.ca = self.folder / "ca.pem"

    def of(self, holder):
        """Returns the paths of the holder's certificate and key."""
        return self.folder / f"{holder}.pem", self.folder / f"{holder}.key"


class Report:
    """Prints a line for each check, and knows whether all have held."""

    def __init__(self, who):
        self.who, self.failed = who, 0

    @contextlib.contextmanager
    def check(self, check):
        """Prints whether what is within went well, under the name of the check."""
        name = check.__name__.replace("_", " ")
        try:
            yield
        except Exception:
            self.failed += 1
            print(f"FAILED  {self.who}: {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            print(f"ok      {self.who}: {name}")
        sys.stdout.flush()

    def end(self):
        sys.exit(1 if self.failed else 0)


def expect(found, wanted):
    """Holds what was found to what was wanted."""
    if found != wanted:
        raise AssertionError(f"{found!r}, not {wanted!r}")


class Calls:
    """What our server says of its calls, over HTTP/1.1 and the TLS of Python itself."""

    def __init__(self, address, certificates, holder="client"):
        self.address = address
        self.tls = ssl.create_default_context(cafile=certificates.ca)
        # Nodes are named by SPIFFE IDs, which this library does not know.
        self.tls.check_hostname = False
        if holder is not None:
            self.tls.load_cert_chain(*certificates.of(holder))

    def wait(self, what, at_least=0):
        """Waits until as many handlers are `running`, or were `dropped` before their end, and returns how many."""
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPSConnection(host, int(port), context=self.tls, timeout=LIMIT)
        try:
            connection.request("GET", f"/calls/{what}/{at_least}")
            return int(connection.getresponse().read())
        finally:
            connection.close()
