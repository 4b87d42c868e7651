package table

// mbrTypeName returns the name of an MBR partition type.
func mbrTypeName(kind byte) string {
	switch kind {
	case 0x01, 0x04, 0x06, 0x0e, 0x11, 0x14, 0x16, 0x1e:
		return "FAT12 or FAT16"
	case 0x05, 0x0f, 0x85:
		return "extended"
	case 0x07:
		return "NTFS or exFAT"
	case 0x0b, 0x0c, 0x1b, 0x1c:
		return "FAT32"
	case 0x27:
		return "Windows recovery"
	case 0x42:
		return "Windows dynamic disk"
	case 0x82:
		return "Linux swap"
	case 0x83:
		return "Linux"
	case 0x8e:
		return "Linux LVM"
	case 0xa5:
		return "FreeBSD"
	case 0xa6:
		return "OpenBSD"
	case 0xa9:
		return "NetBSD"
	case 0xaf:
		return "HFS or HFS+"
	case 0xef:
		return "EFI system"
	case 0xfd:
		return "Linux RAID"
	}
	return ""
}

// gptTypeName returns the name of a GPT partition type.
func gptTypeName(guid string) string {
	switch guid {
	case EFISystem:
		return "EFI system"
	case BIOSBoot:
		return "BIOS boot"
	case "0fc63daf-8483-4772-8e79-3d69d8477de4":
		return "Linux filesystem"
	case "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f":
		return "Linux swap"
	case "e6d6d379-f507-44c2-a23c-238f2a3df928":
		return "Linux LVM"
	case "a19d880f-05fc-4d3b-a006-743f0f84911e":
		return "Linux RAID"
	case "bc13c2ff-59e6-4262-a352-b275fd6f7172":
		return "Linux extended boot"
	case "4f68bce3-e8cd-4db1-96e7-fbcaf984b709":
		return "Linux root (x86-64)"
	case "b921b045-1df0-41c3-af44-4c6f280d3fae":
		return "Linux root (ARM-64)"
	case "44479540-f297-41b2-9af7-d131d5f0458a":
		return "Linux root (x86)"
	case "933ac7e1-2eb4-4f13-b844-0e14e2aef915":
		return "Linux home"
	case "ca7d7ccb-63ed-4c53-861c-1742536059cc":
		return "Linux LUKS"
	case "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7":
		return "Microsoft basic data"
	case "e3c9e316-0b5c-4db8-817d-f92df00215ae":
		return "Microsoft reserved"
	case "de94bba4-06d1-4d40-a16a-bfd50179d6ac":
		return "Windows recovery"
	case "af9b60a0-1431-4f62-bc68-3311714a69ad":
		return "Windows dynamic disk data"
	case "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3":
		return "Windows dynamic disk metadata"
	case "83bd6b9d-7f41-11dc-be0b-001560b84f0f":
		return "FreeBSD boot"
	case "516e7cb6-6ecf-11d6-8ff8-00022d09712b":
		return "FreeBSD UFS"
	case "516e7cb5-6ecf-11d6-8ff8-00022d09712b":
		return "FreeBSD swap"
	case "516e7cba-6ecf-11d6-8ff8-00022d09712b":
		return "ZFS"
	case "7c3457ef-0000-11aa-aa11-00306543ecac":
		return "APFS"
	case "48465300-0000-11aa-aa11-00306543ecac":
		return "HFS+"
	}
	return ""
}

// The GPT types that decide how a disk boots.
const (
	EFISystem = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	BIOSBoot  = "21686148-6449-6e6f-744e-656564454649"
)

func bsdTypeName(kind byte) string {
	switch kind {
	case 1:
		return "swap"
	case 7:
		return "UFS"
	case 27:
		return "ZFS"
	}
	return ""
}
