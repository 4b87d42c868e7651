package check

import (
	"context"
	"regexp"
	"strings"
)

// files reads every file of some directories whose names match, and stops at the first error.
func files(ctx context.Context, s Subject, match func(name string) bool, dirs ...string) (map[string]string, error) {
	found := map[string]string{}
	for _, dir := range dirs {
		names, err := s.View.List(ctx, dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !match(name) || len(found) == 256 {
				continue
			}
			p, err := s.View.Read(ctx, dir+"/"+name)
			if err != nil {
				return nil, err
			}
			found[dir+"/"+name] = string(p)
		}
	}
	return found, nil
}

var netRule = regexp.MustCompile(`persistent.*net`)

// netRules looks for rules that bind names of network interfaces to the old machine's addresses.
func netRules(ctx context.Context, s Subject) Finding {
	rules, err := files(ctx, s, netRule.MatchString, "/etc/udev/rules.d")
	if err != nil {
		return unknown("/etc/udev/rules.d cannot be read: %v", err)
	}
	for path, text := range rules {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				return fail("network interfaces are bound to the addresses of the old machine; remove the file").with(Evidence{Path: path})
			}
		}
	}
	return pass("no persistent rules for network interfaces")
}

var staticAddress = regexp.MustCompile(`(?mi)^\s*(iface \S+ inet6? static|BOOTPROTO=["']?(static|none)|address(es|1)?\s*[:=]|method=manual|IPADDR\d*=)`)

// dhcp looks for static addresses in the configurations of all usual network services.
func dhcp(ctx context.Context, s Subject) Finding {
	configs, err := files(ctx, s, func(name string) bool {
		return strings.HasPrefix(name, "ifcfg-") && name != "ifcfg-lo" || strings.HasSuffix(name, ".yaml") ||
			strings.HasSuffix(name, ".nmconnection") || strings.HasSuffix(name, ".network") || name == "interfaces"
	}, "/etc/network", "/etc/network/interfaces.d", "/etc/sysconfig/network-scripts", "/etc/sysconfig/network", "/etc/netplan",
		"/etc/NetworkManager/system-connections", "/etc/systemd/network")
	if err != nil {
		return unknown("the network configuration cannot be read: %v", err)
	}
	for path, text := range configs {
		if m := staticAddress.FindString(text); m != "" {
			return warn("an interface has a static address").with(Evidence{Path: path, Value: strings.TrimSpace(m)})
		}
	}
	if len(configs) == 0 {
		return unknown("no network configuration was found")
	}
	return pass("no static address in %d files", len(configs))
}

func cloudInit(ctx context.Context, s Subject) Finding {
	there := false
	for _, path := range []string{"/usr/bin/cloud-init", "/usr/local/bin/cloud-init"} {
		ok, err := s.View.Exists(ctx, path)
		if err != nil {
			return unknown("%s cannot be looked at: %v", path, err)
		}
		there = there || ok
	}
	if !there {
		return fail("cloud-init is not installed")
	}
	if ok, err := s.View.Exists(ctx, "/etc/cloud/cloud-init.disabled"); err == nil && ok {
		return warn("cloud-init is disabled").with(Evidence{Path: "/etc/cloud/cloud-init.disabled"})
	}
	configs, err := files(ctx, s, func(name string) bool { return strings.HasSuffix(name, ".cfg") }, "/etc/cloud", "/etc/cloud/cloud.cfg.d")
	if err != nil {
		return unknown("/etc/cloud cannot be read: %v", err)
	}
	result := pass("cloud-init is installed and enabled")
	for path, text := range configs {
		number := 0
		for line := range strings.Lines(text) {
			number++
			problem := ""
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); {
			case key == "disable_root" && isTrue(value):
				problem = "disable_root forbids logging in as root"
			case key == "datasource_list" && !strings.Contains(value, "OpenStack") && !strings.Contains(value, "ConfigDrive"):
				problem = "datasource_list has neither OpenStack nor ConfigDrive"
			}
			if problem != "" {
				result.Result, result.Text = Warn, problem
				result = result.with(Evidence{path, number, strings.TrimSpace(line)})
			}
		}
	}
	return result
}

func isTrue(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// clean looks for what should not be copied to many machines.
func clean(ctx context.Context, s Subject) Finding {
	result := pass("no identity of one machine was found")
	add := func(path, problem string) {
		result.Result, result.Text = Warn, problem
		result = result.with(Evidence{Path: path})
	}
	p, err := s.View.Read(ctx, "/etc/machine-id")
	if err != nil && !missing(err) {
		return unknown("/etc/machine-id cannot be read: %v", err)
	}
	if id := strings.TrimSpace(string(p)); id != "" && id != "uninitialized" {
		add("/etc/machine-id", "the machine has an ID; empty the file before copying the disk")
	}
	for _, dir := range []string{"/var/lib/cloud/instances", "/etc/ssh"} {
		names, err := s.View.List(ctx, dir)
		if err != nil {
			return unknown("%s cannot be read: %v", dir, err)
		}
		for _, name := range names {
			if dir != "/etc/ssh" || strings.HasPrefix(name, "ssh_host_") && strings.HasSuffix(name, "_key") {
				add(dir+"/"+name, "data of one machine would be copied")
			}
		}
	}
	for _, path := range []string{"/root/.bash_history", "/root/.ssh/authorized_keys"} {
		p, err := s.View.Read(ctx, path)
		if err == nil && len(strings.TrimSpace(string(p))) > 0 {
			add(path, "data of one machine would be copied")
		}
	}
	return result
}

func password(ctx context.Context, s Subject) Finding {
	p, err := s.View.Read(ctx, "/etc/shadow")
	if err != nil {
		return unknown("/etc/shadow cannot be read: %v", err)
	}
	for line := range strings.Lines(string(p)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 2 || f[0] != "root" {
			continue
		}
		switch {
		case f[1] == "":
			return fail("root has an empty password").with(Evidence{Path: "/etc/shadow"})
		case strings.HasPrefix(f[1], "!") || strings.HasPrefix(f[1], "*"):
			if cloudInit(ctx, s).Result == Pass {
				return pass("root is locked, and cloud-init is there")
			}
			return warn("root is locked, and cloud-init does not set a password or key").with(Evidence{Path: "/etc/shadow"})
		}
		return pass("root has a password")
	}
	return unknown("/etc/shadow has no line for root")
}

func vmware(ctx context.Context, s Subject) Finding {
	for _, path := range []string{"/usr/bin/vmtoolsd", "/usr/sbin/vmware-guestd", "/etc/vmware-tools/tools.conf"} {
		ok, err := s.View.Exists(ctx, path)
		if err != nil {
			return unknown("%s cannot be looked at: %v", path, err)
		}
		if ok {
			return warn("tools of VMware are installed").with(Evidence{Path: path})
		}
	}
	return pass("no tools of VMware")
}
