"""``floodmark cert``: a CA for a cluster, and certificates of its nodes and users.

The library that makes certificates is loaded when one is made or read, so that no other command waits for it.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli.exits import CONFLICT, NOT_FOUND, USAGE, Failure
from cli.output import Item, View, field, output_option, show
from cli.session import debug_option, talk
from cli.units import DURATION_MS, NO_LIMIT

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from local.certificates import Authority, Made

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_USER: Final = re.compile(r"(?!\.+\Z|anonymous\Z)[A-Za-z0-9._@-]{1,64}", re.ASCII)
_HOST: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9*][A-Za-z0-9._-]{0,252}", re.ASCII)
_AUTHORITY: Final = click.option(
    "--ca",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Folder of the CA, made by 'cert init'.",
)
_SHOWN: Final = View(
    columns=(
        field("File"),
        field("For", "uri"),
        field("Hosts"),
        field("Ends"),
        field("Days left", right=True),
        field("Issuer"),
        field("SHA-256", "sha256", wide=True),
    ),
    name=lambda item: str(item["file"]),
    items=lambda document: document["certificates"],
)


def _lasts(default: str) -> Callable[[Any], Any]:
    return click.option(
        "--lasts",
        type=DURATION_MS,
        default=default,
        show_default=True,
        help="How long it is valid, as in 90d.",
    )


_TO: Final = click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.  [default: that of the CA]",
)


@click.group()
def cert() -> None:
    """A CA for a cluster, and certificates of its nodes and users.

    A node's certificate is for [peer.tls] of its settings. docs/OPERATIONS.md has the steps to switch TLS on,
    and to change certificates and CAs while the cluster runs.
    """


@cert.command("init")
@click.argument("folder", metavar="DIR", default="certs", type=click.Path(file_okay=False, path_type=Path))
@click.option("--cluster-id", default="floodmark", show_default=True, help="cluster.id of the nodes.")
@_lasts("3650d")
@output_option(default=None)
@debug_option
def init(folder: Path, *, cluster_id: str, lasts: int | str, output: str | None) -> None:
    """Make a CA: DIR/ca.pem, which every node gets, and DIR/ca.key, which stays here.

    Whoever has the key can make a certificate for any node or user: keep it away from the nodes.
    """
    if not 1 <= len(cluster_id) <= 64:
        raise Failure("a cluster's id has 1 to 64 characters", exit_code=USAGE)
    maker = _maker()
    authority = maker.new_authority(cluster_id, lasts=_time(lasts))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(authority.made, folder, "ca")
    talk(f"made a CA for the cluster {cluster_id!r}; keep {folder / 'ca.key'} safe, and off the nodes")
    _show([folder / "ca.pem"], output)


@cert.command("node")
@click.argument("node_id", metavar="NODE")
@click.option(
    "--host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="Name or address by which the node is reached; may be repeated.",
)
@_AUTHORITY
@_TO
@_lasts("365d")
@output_option(default=None)
@debug_option
def node(
    node_id: str,
    *,
    hosts: tuple[str, ...],
    folder: Path,
    to: Path | None,
    lasts: int | str,
    output: str | None,
) -> None:
    """Make a certificate for a node: NODE.pem and NODE.key, for its machine alone.

    Clients compare the hosts with the address that they use; nodes know each other by their ids.
    """
    if not _NAME.fullmatch(node_id) or node_id == "ca":
        raise Failure(f"{node_id!r} is not the id of a node", exit_code=USAGE, hint="for example n1")
    for host in hosts:
        if not _HOST.fullmatch(host) and not _is_address(host):
            raise Failure(
                f"{host!r} is neither a host's name nor an address",
                exit_code=USAGE,
                hint="without scheme and port, as in --host 10.0.0.1 --host n1.example",
            )
    authority = _open(folder)
    with_hosts = _told(lambda: authority.node(node_id, hosts, lasts=_time(lasts)))
    _finish(with_hosts, to or folder, node_id, output)
    if not hosts:
        talk("it names no host (--host): other nodes take it, and clients would not")


@cert.command("user")
@click.argument("name")
@_AUTHORITY
@_TO
@_lasts("365d")
@output_option(default=None)
@debug_option
def user(name: str, *, folder: Path, to: Path | None, lasts: int | str, output: str | None) -> None:
    """Make a certificate by which a client shows who its user is: user-NAME.pem and user-NAME.key."""
    if not _USER.fullmatch(name):
        raise Failure(
            f"{name!r} is not a user's name",
            exit_code=USAGE,
            hint="1 to 64 of A-Z a-z 0-9 . _ @ -, not only dots, and not anonymous",
        )
    authority = _open(folder)
    _finish(_told(lambda: authority.user(name, lasts=_time(lasts))), to or folder, f"user-{name}", output)


@cert.command("renew")
@click.argument(
    "files",
    metavar="[CERTIFICATE]...",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@_AUTHORITY
@click.option("--within", type=DURATION_MS, default="30d", show_default=True, help="Renew what ends within.")
@click.option("--all", "every", is_flag=True, help="Renew whatever its end, as with another CA.")
@click.option("--same-key", is_flag=True, help="Keep the keys, and write new certificates only.")
@_lasts("365d")
@output_option(default=None)
@debug_option
def renew(
    files: tuple[Path, ...],
    *,
    folder: Path,
    within: int | str,
    every: bool,
    same_key: bool,
    lasts: int | str,
    output: str | None,
) -> None:
    """Renew certificates that end soon: those given, or all in the CA's folder.

    The same names by the CA of --ca, which may be another one than before, with new keys, written over the
    files. Nodes take new files while they run. A CA itself is not renewed: make a second one, and replace it.
    """
    maker, authority = _maker(), _open(folder)
    found = files or tuple(path for path in sorted(folder.glob("*.pem")) if path.name != maker.CA_CERT)
    now, renewed = datetime.now(UTC), []
    for path in found:
        old: Certificate = _told(lambda path=path: maker.read_certificate(path))
        if not every and within != NO_LIMIT and old.not_valid_after_utc > now + _time(within):
            continue
        key_path = path.with_suffix(".key")
        key = _told(lambda key_path=key_path: maker.read_key(key_path)) if same_key else None
        if key is not None and key.public_key() != old.public_key():
            raise Failure(f"{key_path} is not the key of {path}")
        made = _told(lambda old=old, key=key: authority.renewed(old, lasts=_time(lasts), key=key), path)
        made.write(path, key_path, over=True)
        renewed.append(path)
        talk(f"{path}: {made.uri} until {made.certificate.not_valid_after_utc:%Y-%m-%d}")
    if not renewed:
        talk(f"none of {len(found)} certificates ends that soon; --within and --all choose more")
    _show(renewed, output)


@cert.command("show")
@click.argument("paths", metavar="FILE_OR_DIR...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@output_option()
@debug_option
def show_certificates(paths: tuple[Path, ...], *, output: str | None) -> None:
    """Show whom certificates are for, when they end, and who has made them."""
    found: list[Path] = []
    for path in paths or (Path("certs"),):
        if path.is_dir():
            found += sorted(path.glob("*.pem"))
        elif path.exists():
            found.append(path)
    if not found:
        raise Failure("there is no certificate", exit_code=NOT_FOUND, hint="'floodmark cert init' begins")
    _show(found, output or "table")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _maker() -> Any:
    """The module ``local.certificates``, loaded only when it is needed."""
    return importlib.import_module("local.certificates")


def _told(work: Any, path: Path | None = None) -> Any:
    """What ``work`` returns; what is wrong with its files, or with ``path``, is the command's failure."""
    maker = _maker()
    try:
        return work()
    except maker.CertificateProblem as error:
        raise Failure(f"{path}: {error}" if path else str(error)) from error


def _open(folder: Path) -> Authority:
    maker = _maker()
    if not (folder / maker.CA_KEY).exists():
        raise Failure(
            f"{folder} holds no CA ({maker.CA_KEY})",
            exit_code=NOT_FOUND,
            hint="--ca names its folder; 'floodmark cert init DIR --cluster-id ID' makes one",
        )
    authority: Authority = _told(lambda: maker.open_authority(folder))
    if not authority.cluster_uri.startswith("spiffe://"):
        raise Failure(
            f"{folder / maker.CA_CERT} does not name a cluster",
            hint="only CAs of 'floodmark cert init' make certificates here",
        )
    if authority.made.certificate.not_valid_after_utc <= datetime.now(UTC):
        raise Failure(
            f"{folder / maker.CA_CERT} has ended", hint="make another CA with 'floodmark cert init'"
        )
    return authority


def _finish(made: Made, folder: Path, name: str, output: str | None) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(made, folder, name)
    ends = made.certificate.not_valid_after_utc
    talk(f"made {folder / name}.pem and .key for {made.uri}, until {ends:%Y-%m-%d}")
    _show([folder / f"{name}.pem"], output)


def _write(made: Made, folder: Path, name: str) -> None:
    try:
        made.write(folder / f"{name}.pem", folder / f"{name}.key")
    except FileExistsError as error:
        raise Failure(
            f"{error}; nothing was written",
            exit_code=CONFLICT,
            hint="'floodmark cert renew' replaces a certificate; a second CA needs a folder of its own",
        ) from error


def _time(milliseconds: int | str) -> timedelta:
    if isinstance(milliseconds, str) or milliseconds <= 0:
        raise Failure("a certificate needs an end that is to come", exit_code=USAGE, hint="as in 365d")
    try:
        datetime.now(UTC) + (lasts := timedelta(milliseconds=milliseconds))
    except OverflowError:
        raise Failure("no certificate lasts that long", exit_code=USAGE, hint="as in 365d") from None
    return lasts


def _show(files: list[Path], output: str | None) -> None:
    if output is not None:
        show({"certificates": [_described(path) for path in files]}, _SHOWN, output)


def _described(path: Path) -> Item:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - see above

    maker = _maker()
    found: Certificate = _told(lambda: maker.read_certificate(path))
    left = found.not_valid_after_utc - datetime.now(UTC)
    return {
        "file": str(path),
        "uri": maker.uri_of(found) or None,
        "hosts": maker.hosts_of(found),
        "begins": found.not_valid_before_utc.isoformat(timespec="seconds"),
        "ends": found.not_valid_after_utc.isoformat(timespec="seconds"),
        "days_left": left.days,
        "issuer": found.issuer.rfc4514_string(),
        "sha256": found.fingerprint(SHA256()).hex(),
    }
