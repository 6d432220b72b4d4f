"""Published files: found, downloaded, unpacked."""
