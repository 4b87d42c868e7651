package tree

// readme is the text at the top of a mounted tree.
const readme = `This is a tree of disk images, each of them a plain raw file.

  images/NAME/disk     the image as a raw, read-only disk
  images/NAME/status   what it is and where it comes from
  images/NAME/meta/    what people say about it, one attribute a file
  images/NAME/ctl      takes commands; reading it lists those that may be used now
  images/NAME/job      the latest job's progress or outcome
  images/NAME/error    the sentence of the last command that was refused
  images/NAME/digest   one hash of the disk, once all of it is in the store
  images/NAME/inspect  what is on it, as JSON: file systems, systems, how it boots
  images/NAME/partitions/p1 ...   its partitions as raw, read-only disks; table lists them
  volumes/NAME/disk    the volume: a writable disk, cloned from an image
  ctl error job status the same for the whole store

One write is one command:

  echo 'register web /srv/images/web.zvhd2' >ctl
  cat images/web/status
  losetup --read-only --partscan --find --show images/web/disk
  echo 'set os_version "Debian 12"' >images/web/ctl
  echo hydrate >images/web/ctl; cat images/web/job
  echo 'export qcow2 /srv/copies/web.qcow2' >images/web/ctl
  echo 'clone web-1' >images/web/ctl
  echo delete >images/web/ctl

A command that is refused fails its write; the reason is in error beside the ctl.
The command line does the same: imsfs help.
`
