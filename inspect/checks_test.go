package inspect_test

import (
	"maps"
	"testing"

	"github.com/imsfs/imsfs/inspect/check"
)

// soundFiles are a root that all checks of files pass.
func soundFiles() map[string]string {
	files := rootFiles()
	maps.Copy(files, map[string]string{
		"etc/fstab":                  "LABEL=LABEL / vfat defaults 0 1\n",
		"boot/config-6.1.0-10-amd64": "CONFIG_VIRTIO=y\nCONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_SCSI_VIRTIO=y\nCONFIG_VIRTIO_NET=y\n",
		"boot/grub/grub.cfg":         "linux /boot/vmlinuz-6.1.0-10-amd64 root=UUID=1234-5678 ro\n",
		"etc/network/interfaces":     "auto eth0\niface eth0 inet dhcp\n",
		"usr/bin/cloud-init":         "#!/usr/bin/python3\n",
		"etc/cloud/cloud.cfg":        "disable_root: 0\nssh_pwauth: 1\ndatasource_list: [ OpenStack ]\n",
		"etc/machine-id":             "uninitialized\n",
		"etc/shadow":                 "root:!:19000::::::\n",
		"EFI/BOOT/BOOTX64.EFI":       "MZ",
	})
	return files
}

// TestPlantedFaults plants one fault each into a sound root. Its check must see it, and no other
// one.
func TestPlantedFaults(t *testing.T) {
	passes := map[string]bool{"FSTAB-UUID": true, "FSTAB-DATA": true, "GRUB-UUID": true, "VIRTIO": true, "KERNEL": true, "NETRULES": true,
		"DHCP": true, "CLOUDINIT": true, "CLEAN": true, "PASSWORD": true, "FIRMWARE": true}
	for _, fault := range []struct {
		name, path, text string
		code             string
		want             check.Result
	}{
		{"Sound", "etc/motd", "hello", "FSTAB-UUID", check.Pass},
		{"KernelNameInFstab", "etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n", "FSTAB-UUID", check.Fail},
		{"OtherDiskInFstab", "etc/fstab", "LABEL=LABEL / vfat defaults 0 1\nUUID=1-2 /data ext4 defaults 0 2\n", "FSTAB-DATA", check.Fail},
		{"OtherDiskMayFail", "etc/fstab", "LABEL=LABEL / vfat defaults 0 1\nUUID=1-2 /data ext4 nofail 0 2\n", "FSTAB-DATA", check.Pass},
		{"KernelNameInGrub", "boot/grub/grub.cfg", "linux /vmlinuz root=/dev/vda1\n", "GRUB-UUID", check.Fail},
		{"VariablesInGrub", "boot/grub/grub.cfg", "linux /vmlinuz root=$rootdev\n", "GRUB-UUID", check.Unknown},
		{"NetRules", "etc/udev/rules.d/70-persistent-net.rules", "SUBSYSTEM==\"net\", NAME=\"eth0\"\n", "NETRULES", check.Fail},
		{"EmptyNetRules", "etc/udev/rules.d/70-persistent-net.rules", "# none\n\n", "NETRULES", check.Pass},
		{"StaticAddress", "etc/network/interfaces", "iface eth0 inet static\naddress 10.0.0.1\n", "DHCP", check.Warn},
		{"DisabledRoot", "etc/cloud/cloud.cfg", "disable_root: true\n", "CLOUDINIT", check.Warn},
		{"MachineID", "etc/machine-id", "0123456789abcdef0123456789abcdef\n", "CLEAN", check.Warn},
		{"HostKey", "etc/ssh/ssh_host_rsa_key", "key", "CLEAN", check.Warn},
		{"EmptyPassword", "etc/shadow", "root::19000::::::\n", "PASSWORD", check.Fail},
		{"NoShadowLine", "etc/shadow", "daemon:*:19000::::::\n", "PASSWORD", check.Unknown},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			files := soundFiles()
			files[fault.path] = fault.text
			path := gptDisk(t, 96*mib, "size=64M,type=U\n", fatImage(t, 64*mib, files))
			list, err := open(t, path).Checks(t.Context(), "2026-01-01")
			if err != nil || len(list) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			for _, f := range list[0].Checks {
				switch {
				case f.Code == fault.code && f.Result != fault.want:
					t.Errorf("%+v, want %s", f, fault.want)
				case f.Code != fault.code && passes[f.Code] && f.Result != check.Pass && !(f.Code == "PASSWORD" && fault.code == "CLOUDINIT"):
					t.Errorf("the sound part fails: %+v", f)
				}
			}
		})
	}
}

// TestNothingPassesByAbsence: of a root with nothing but a name, checks of what is not there are
// unknown.
func TestNothingPassesByAbsence(t *testing.T) {
	path := gptDisk(t, 64*mib, "size=32M\n", fatImage(t, 32*mib, map[string]string{"etc/os-release": "ID=x\n"}))
	list, err := open(t, path).Checks(t.Context(), "2026-01-01")
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, f := range list[0].Checks {
		switch f.Code {
		case "FSTAB-UUID", "FSTAB-DATA", "GRUB-UUID", "VIRTIO", "KERNEL", "DHCP", "PASSWORD", "EOS":
			if f.Result != check.Unknown {
				t.Errorf("%+v, want unknown", f)
			}
		}
	}
}
