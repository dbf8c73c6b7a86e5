"""The error manual: who raises what, who catches it, what happens then.

RatchetError
├── Unusable      this input can never work       -> dead letter, or HTTP 4xx; never retried
│   ├── BadConfig         ratchet.toml or a setting is wrong   -> refused at start, exit status 2
│   └── ArtifactInvalid   a folder without a verifying manifest -> it does not exist; made again
└── Unavailable   the same input may work later   -> retried without commit, or HTTP 503 with Retry-After
    └── SpoolFull         the gateway's local log has reached its limit -> no answer is given before it drains

Anything else is a bug: it crashes the process loudly and the supervisor restarts it.
"""


class RatchetError(Exception):
    """Says what, where and what to do; its text is shown to people as it is."""


class Unusable(RatchetError):
    """The input is wrong for ever; retrying cannot help."""


class BadConfig(Unusable):
    """A configuration value is wrong; the text names the key, the value and what would be right."""


class ArtifactInvalid(Unusable):
    """A folder has no manifest, or its files are not those the manifest names."""


class Unavailable(RatchetError):
    """Something needed is not there now: a broker, a database, another service, a full disk."""


class SpoolFull(Unavailable):
    """The spool holds as much as it may: the bus has been away for long, or is slower than the requests."""
