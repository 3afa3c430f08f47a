using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Running;

/// <summary>
/// A member of the lab's etcd, for managers that share a journal. Clients and members are known to it by the lab's certificates. It elects
/// a leader in half the usual time, so that leases of one second are granted.
/// </summary>
internal static class EtcdMember
{
    private const int ClientPort = 2379, PeerPort = 2380;

    /// <summary>Where clients find a member.</summary>
    public static string Client(LabNode node) => Url(node, ClientPort) + "/";

    /// <summary>The folder in which a member keeps what it has.</summary>
    public static string FolderOf(string folder, string node) => Path.Combine(folder, node + ".etcd");

    /// <summary>How a member is started.</summary>
    public static IReadOnlyList<string> Command(LabTopology lab, LabNode node, string folder)
    {
        string certificate = LabCertificates.CertificateOf(folder, node.Name), key = LabCertificates.KeyOf(folder, node.Name);
        string authority = LabCertificates.AuthorityOf(folder), client = Url(node, ClientPort), peer = Url(node, PeerPort);
        string members = string.Join(',', lab.Nodes.Where(n => n.HasEtcd).Select(n => $"{n.Name}={Url(n, PeerPort)}"));
        return
        [
            "etcd", "--name", node.Name, "--data-dir", FolderOf(folder, node.Name),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", members, "--initial-cluster-token", lab.Name,
            "--cert-file", certificate, "--key-file", key, "--trusted-ca-file", authority, "--client-cert-auth",
            "--peer-cert-file", certificate, "--peer-key-file", key, "--peer-trusted-ca-file", authority, "--peer-client-cert-auth",
            "--heartbeat-interval", "100", "--election-timeout", "500",
            "--auto-compaction-retention", "1h", "--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn",
        ];
    }

    private static string Url(LabNode node, int port)
        => node.Management!.Value.Address is var address && address.IsV4 ? $"https://{address}:{port}" : $"https://[{address}]:{port}";
}
